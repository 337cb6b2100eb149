"""Kineto JSON(.gz) or the compact store → one table of events; links; integrity."""
