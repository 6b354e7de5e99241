package ledger

import "os"

// removed: Windows does not remove a file that is open.
func removed(*os.File) bool { return false }
