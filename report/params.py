"""The block `report` of params.yaml."""

from pydantic import PositiveInt

from pipeline.params import Block


class Params(Block):
    """The `report` block of params.yaml."""

    show_all: bool  # pictures and transcripts also of data sets that do not say redistribute
    thumbnails: bool
    films: bool  # of every clip a small one beside the page
    max_rows: PositiveInt  # of a long table on the page
    examples: PositiveInt  # clips shown whose u-labels part most from the m-label
