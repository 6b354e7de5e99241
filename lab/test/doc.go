// Package test is the folder of what tests and measures the kit as a whole: tests on a running lab (integration), negative controls (controls) and
// benchmarks (bench). Here are only the tests of the documents.
package test
