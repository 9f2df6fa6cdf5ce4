"""`chainsocks probe`: walk a chain hop by hop, and say what each step took, or who failed, why, and what to try."""
