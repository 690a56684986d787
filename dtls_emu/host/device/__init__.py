"""The devices that a host has on its machine: TUN devices of VMs, their addresses and routes."""
