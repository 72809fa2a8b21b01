package config

import (
	"errors"
	"fmt"
	"os"
)

// tryBackupDir creates and removes a file in the directory, so that a wrong one is noticed at the start and not when there is
// something to change.
func tryBackupDir(dir string) error {
	f, err := os.CreateTemp(dir, ".backup-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return fmt.Errorf("cannot be written: %w; it must be a directory that this program, in the image user 65532, can write to", fileCause(err))
	}
	return nil
}
