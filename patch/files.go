package patch

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// tryBackupDir writes and removes a file where the backup is to go: now, not when a change is due.
func tryBackupDir(dir string) error {
	const variable, remedy = "PATCH_BACKUP_DIR", "; it must be a directory that this program, in the image user 65532, can write to"
	f, err := os.CreateTemp(dir, ".backup-*")
	if err != nil {
		return &ConfigError{variable, fmt.Sprintf("cannot be written: %v%s", cause(err), remedy)}
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return &ConfigError{variable, fmt.Sprintf("cannot be written: %v%s", cause(err), remedy)}
	}
	return nil
}

// cause is what the system said of a file, without the file's name.
func cause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// readSecret reads a file as a container engine mounts one: a regular file or a pipe, not a device that never ends.
func readSecret(file string) (string, error) {
	const most = 64 << 10
	unreadable := func(err error) error {
		return fmt.Errorf("cannot be read: %v; this program, in the image user 65532, must be able to", cause(err))
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", unreadable(err)
	}
	if !info.Mode().IsRegular() && info.Mode().Type() != os.ModeNamedPipe {
		return "", errors.New("cannot be read: it is neither a regular file nor a pipe")
	}
	f, err := os.Open(file)
	if err != nil {
		return "", unreadable(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", unreadable(err)
	}
	if len(content) > most {
		return "", errors.New("is too long for a connection string: it holds more than 64 KiB")
	}
	return string(content), nil
}
