"""How many decisions a second: ours, the official Python SDK's and the Node SDK's, without input or output."""
