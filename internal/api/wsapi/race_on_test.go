//go:build race

package wsapi

const underRace = true
