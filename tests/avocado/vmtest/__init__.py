# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest tests and the demonstration are made of: a real QEMU with a
real guest in it, and readers for what they leave behind. Standard library
only."""
