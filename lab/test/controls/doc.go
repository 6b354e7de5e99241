// Package controls holds the judge's negative controls: the app with one faulty part, under a real load and on real services, must be
// found guilty of just what that part does, and the same run with the real part innocent. A judge that cannot fail proves nothing.
//
//   - A worker that acknowledges before the commit loses votes when it dies.
//   - A frontend that orders votes by its own clock makes old votes win where clocks differ.
//   - A Redis that keeps nothing on its disk loses votes when it is killed.
//
// And the whole path, with crashes of everything at once, must be found innocent.
//
// The faulty parts stand in the tests of this package and nowhere else.
package controls
