# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of the benchmark. Each is a module with NAME's TITLE, its ABOUT,
and measure(lab, record)."""

# In the order of the report
NAMES = ('capture', 'production', 'memory', 'vmcore', 'save', 'threads')
