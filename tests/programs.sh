#!/bin/sh
# Makes sure that the programs are there which the tests run for real: what is missing is installed with apt-get
# where that is allowed, else named.

PATH="$PATH:/usr/sbin:/sbin"
programs="git:git ssh:openssh-client ssh-keygen:openssh-client sshd:openssh-server tmux:tmux bash:bash zsh:zsh fish:fish"
programs="$programs chromium:chromium chromedriver:chromium-driver"

missing() {
    for pair in $programs; do
        command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
    done | sort -u | tr '\n' ' '
}

packages=$(missing)
[ -z "$packages" ] && exit 0

if command -v apt-get >/dev/null; then
    if [ "$(id -u)" = 0 ]; then as_root=""; else as_root="sudo -n"; fi
    if $as_root true 2>/dev/null; then
        echo "installing $packages" >&2
        export DEBIAN_FRONTEND=noninteractive
        $as_root apt-get update -qq >&2
        # No server of the system is to be started by this: the tests run an sshd of their own on loopback.
        policy=/usr/sbin/policy-rc.d
        [ -e $policy ] && policy=""
        [ -n "$policy" ] && printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null && $as_root chmod +x $policy
        # shellcheck disable=SC2086
        $as_root apt-get install -qq -y --no-install-recommends $packages >/dev/null
        [ -n "$policy" ] && $as_root rm -f $policy
    fi
fi

packages=$(missing)
[ -z "$packages" ] && exit 0
echo "The tests need programs that are not here. Debian's packages: $packages" >&2
echo "Install them and run this again:  sudo apt-get install $packages" >&2
exit 1
