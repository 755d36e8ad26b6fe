"""Is this synthetic clinical text worth anything, for whom, and compared to what?

The folders below this file, in the order of `pipeline.STAGES`, are the method: cohort, alignment, generation,
annotation, mixes, training, scoring, evaluation, reports. A stage reads tables, writes tables and knows no other stage.
"""

__version__ = "0.1.0"
