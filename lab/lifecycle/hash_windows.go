package lifecycle

import "io/fs"

// versionOf would tell one state of a file from all others; here each file is read again.
func versionOf(fs.FileInfo) (_ fileVersion, known bool) { return fileVersion{}, false }
