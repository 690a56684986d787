"""Fakes and suites for our tests and for yours.

:mod:`dtls_emu.testing.conformance` proves any installed cipher backend;
:mod:`dtls_emu.testing.pytest_plugin` gives pytest the option to name it. Import the modules themselves: this
package is imported by every pytest run on a machine that has dtls-emu, so it imports nothing.
"""
