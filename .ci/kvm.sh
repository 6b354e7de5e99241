# Sourced by the scripts that start virtual machines.
# shellcheck shell=bash

# kvm_is_usable, as vagrant/libvirt.rb decides: the device alone says nothing, there are hosts that have it whose processor cannot do it.
kvm_is_usable() { [ -w /dev/kvm ] && grep -qE '^flags.*\b(vmx|svm)\b' /proc/cpuinfo; }
