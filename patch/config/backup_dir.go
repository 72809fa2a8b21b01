package config

import (
	"errors"
	"fmt"
	"os"
)

// tryBackupDir creates and removes a file in the directory, so that a wrong one is noticed at the start and not when there is
// something to change.
func tryBackupDir(dir string) error {
	const variable, remedy = "PATCH_BACKUP_DIR", "; it must be a directory that this program, in the image user 65532, can write to"
	f, err := os.CreateTemp(dir, ".backup-*")
	if err != nil {
		return &Error{variable, fmt.Sprintf("cannot be written: %v%s", fileCause(err), remedy)}
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return &Error{variable, fmt.Sprintf("cannot be written: %v%s", fileCause(err), remedy)}
	}
	return nil
}
