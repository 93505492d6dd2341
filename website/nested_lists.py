"""A Python-Markdown extension: lists nest by two spaces, as CommonMark and code hosts read them, instead of by four."""

from typing import Any

from markdown import Markdown
from markdown.blockprocessors import ListIndentProcessor
from markdown.extensions import Extension
from markdown.extensions.sane_lists import SaneOListProcessor, SaneUListProcessor


class NestedLists(Extension):
    """Replaces what parses lists: the processors read the width of a level when they are made."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Under the names and priorities of Python-Markdown's own (blockprocessors.py)."""
        wide, md.tab_length = md.tab_length, 2
        md.parser.blockprocessors.register(ListIndentProcessor(md.parser), "indent", 90)
        md.parser.blockprocessors.register(SaneOListProcessor(md.parser), "olist", 40)
        md.parser.blockprocessors.register(SaneUListProcessor(md.parser), "ulist", 30)
        md.tab_length = wide  # code is still indented by four


def makeExtension(**options: Any) -> NestedLists:  # noqa: N802
    """Python-Markdown asks a module named in ``markdown_extensions`` for this function."""
    return NestedLists(**options)
