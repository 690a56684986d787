"""Many hosts at once on real devices: plan, namespaces, launch, recorded state, changes, and exports."""
