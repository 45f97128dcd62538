"""The laboratory: the paper's tables on the toy task. ``python recipes/mini_paper`` trains them."""
