//go:build !race

package server

// raceDetector says whether the tests look for races.
const raceDetector = false
