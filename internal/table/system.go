package table

// Setting is one row of system.settings.
type Setting struct {
	Name        string // dotted configuration key
	Value       string // secrets are left out by whoever makes the list
	Description string
	Category    string
}

// Stat is one row of system.stats.
type Stat struct {
	Name  string
	Value string
}
