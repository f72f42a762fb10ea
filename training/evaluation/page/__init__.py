"""The page to look at: cases side by side, and blind votes."""
