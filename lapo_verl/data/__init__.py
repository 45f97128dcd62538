"""Problem sets in verl's format, from local files or the hub.

``sources`` says what each data set's columns mean, ``own`` and ``answers`` find it out for a user's file, ``read`` gets
the rows, ``screen`` says what goes, ``prepare`` and ``mixture`` put these together, ``write`` makes the parquet file,
``check`` looks at such files.
"""
