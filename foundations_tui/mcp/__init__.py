"""The front for coding assistants: the Model Context Protocol over stdio. Each tool is one call of the core; it renders
the result as short, structured data and holds no rule of its own.
"""
