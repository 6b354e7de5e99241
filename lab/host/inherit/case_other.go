//go:build !windows

package inherit

// foldsCase says that path and PATH are one variable, or not.
const foldsCase = false
