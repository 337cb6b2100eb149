"""From events to the timeline of each run: ranges, attribution, tiling."""
