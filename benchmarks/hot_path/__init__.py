"""How fast the check route answers, beside what else answers or could: ratios, measured side by side in one run."""
