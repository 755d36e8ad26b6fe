"""A table in LaTeX for a paper: booktabs, every cell escaped."""

from __future__ import annotations

from collections.abc import Sequence

from harness.reports import wording

# What LaTeX reads as a command, and our own signs, in text mode.
ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    wording.MINUS: r"\ensuremath{-}",
    wording.EN_DASH: "--",
    wording.NONE: "---",
    wording.DAGGER: r"\textsuperscript{\textdagger}",
    "\n": " ",
}


def escape(text: str) -> str:
    """The text as LaTeX shows it; every special character is replaced once."""
    return "".join(ESCAPES.get(character, character) for character in text)


def latex_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, label: str, right_from: int = 1
) -> str:
    r"""A floating table; needs `\usepackage{booktabs}` and a font encoding with quotation marks, e.g. T1.

    Args:
        head: Column heads.
        rows: Cells, as many as heads; a row of one cell becomes a line over all columns.
        caption: Plain text.
        label: For \ref, e.g. `tab:leaderboard`.
        right_from: Columns from this one on are right-aligned.
    """
    columns = "".join("l" if index < right_from else "r" for index in range(len(head)))
    lines = [
        r"% needs \usepackage{booktabs} and \usepackage[T1]{fontenc}",
        r"\begin{table}",
        r"\centering\footnotesize",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _line(head, len(head)),
        r"\midrule",
        *(_line(row, len(head)) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str], n_columns: int) -> str:
    if len(cells) == 1:
        return rf"\multicolumn{{{n_columns}}}{{l}}{{{escape(cells[0])}}} \\"
    # A cell that begins with a bracket after \\ would be read as its optional argument.
    return " & ".join(escape(cell).replace("[", "{[}").replace("]", "{]}") for cell in cells) + r" \\"
