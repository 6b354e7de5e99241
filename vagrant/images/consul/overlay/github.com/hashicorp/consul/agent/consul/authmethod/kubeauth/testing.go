// What the original has is for tests of the package.

package kubeauth
