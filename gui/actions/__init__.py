"""Every command of the window as data, and what is built of it: menus, tool bars, palette."""
