"""A difference of code as pairs of lines: the same lines that git prints, in two columns."""

from __future__ import annotations

import difflib

from hypothesis import given, strategies as st

from foundations_tui.analysis import code_pairs
from foundations_tui.analysis.code_pairs import CodePair

DIFFERENCE = """\
diff --git a/train.py b/train.py
index 123..456 100644
--- a/train.py
+++ b/train.py
@@ -1,4 +1,4 @@ def main():
 import os
--- a line that looks like a head
-lr = 1
+lr = 2
 print(lr)
+more = 3
diff --git a/gone.py b/gone.py
deleted file mode 100644
--- a/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-x = 1
diff --git a/picture.png b/picture.png
Binary files a/picture.png and b/picture.png differ
"""


def test_what_went_stands_beside_what_came() -> None:
    found = code_pairs.pairs(DIFFERENCE)
    assert [(one.left, one.right) for one in found if not one.is_head] == [
        ("import os", "import os"),
        ("-- a line that looks like a head", "lr = 2"),
        ("lr = 1", None),
        ("print(lr)", "print(lr)"),
        (None, "more = 3"),
        ("x = 1", None),
    ]
    heads = [one.left for one in found if one.is_head]
    assert heads[0] == "train.py" and "gone.py" in heads and any("Binary files" in (head or "") for head in heads)
    assert {one.file for one in found if not one.is_head} == {"train.py", "gone.py"}


LINES = st.lists(st.sampled_from(["a", "b", "", "-- x", "++ y", "@@ -1 +1 @@", " z"]), max_size=12)


@given(LINES, LINES)
def test_both_texts_can_be_read_from_the_pairs(left: list[str], right: list[str]) -> None:
    """Of a difference with all lines around it."""
    text = "\n".join(difflib.unified_diff(left, right, "a/x", "b/x", n=1000, lineterm=""))
    found = [one for one in code_pairs.pairs(text) if not one.is_head]
    if left != right:
        assert [one.left for one in found if one.left is not None] == left
        assert [one.right for one in found if one.right is not None] == right
    assert all(one.differs == (one.left != one.right) for one in found)


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    assert all(isinstance(one, CodePair) for one in code_pairs.pairs(text))


def test_signs_that_only_look_like_line_ends_hide_nothing() -> None:
    hunk = "--- a/m.py\n+++ b/m.py\n@@ -1,4 +1,4 @@\n import os\n \x0c\n def f():\n-    return 1\n+    return 2\n"
    assert [(one.left, one.right) for one in code_pairs.pairs(hunk) if one.differs] == [
        ("    return 1", "    return 2")
    ]
    (changed,) = [one for one in code_pairs.pairs("@@ -1 +1 @@\n-a\r\n+a\n") if one.differs]
    assert (changed.left, changed.right) == ("a\r", "a")
    code_pairs.pairs(f"@@ -1,{'9' * 5000} +1,2 @@\n a\n")
