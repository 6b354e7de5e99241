// Package votingapp is the app under test in the lab: a poll whose promise is that every vote is counted.
//
//	browser → HAProxy → web-vote-app → its Redis → vote-worker → Postgres → results-app → browser
//
// It acknowledges a vote when its Redis has it on disk (package webvote, package queue); delivers it at least once (package worker);
// and merges it idempotently, the latest vote of each voter winning by an order that travels with the voter (packages vote and voter,
// package store). Hence every acknowledged vote has exactly one effect. Package results shows it.
//
// The three programs stand in cmd/, each with the Dockerfile of its image. They know nothing about the lab around them.
//
// This package holds no code. The whole path is tested in lab/test/controls.
package votingapp
