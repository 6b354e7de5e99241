package inherit

// foldsCase: path and PATH are the same variable.
const foldsCase = true
