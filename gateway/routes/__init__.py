"""The routes, a group per file; ``gateway.app`` joins their tables into one."""
