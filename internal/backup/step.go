package backup

// At is called between the steps of a backup and of a restore, by whoever carries them out. An error ends the run there. A nil step does nothing; tests
// stop there, and end the process at its fail point.
func At(step func(string) error, name string) error {
	// gofail: var backupStep string
	// if backupStep == name {
	// 	panic("fail point: " + name)
	// }
	if step == nil {
		return nil
	}
	return step(name)
}
