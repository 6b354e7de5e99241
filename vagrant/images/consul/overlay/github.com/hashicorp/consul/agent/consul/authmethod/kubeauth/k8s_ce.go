// What the original has is for k8s.go.

package kubeauth
