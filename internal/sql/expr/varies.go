package expr

// Varies reports whether a function of a lower-case name gives other values as time goes by, whoever calls it.
func Varies(name string) bool {
	f, ok := lookupFunction(name)
	if !ok || f.when == immutable {
		return false
	}
	_, ofSession := sessionFunction(name)
	_, ofPostgres := postgresFunction(name)
	return f.when == volatile || name == "uuid_v7" || name == "uuidv7" || !ofSession && !ofPostgres
}

// DependsOnCaller reports whether what a function of a lower-case name gives depends on who calls it.
func DependsOnCaller(name string) bool {
	f, ok := lookupFunction(name)
	return ok && f.when == stable && !Varies(name)
}
