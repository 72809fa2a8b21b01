package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Secret is text that no format verb and no log handler prints.
type Secret string

func (Secret) String() string   { return "(secret)" }
func (Secret) GoString() string { return "(secret)" }

// maxSecret is the largest secret file that is read, in bytes.
const maxSecret = 64 << 10

// readSecret reads a file as a container engine mounts one: a regular file or a pipe, not a device that never ends. Until
// somebody writes to a pipe, ctx ends the wait.
func readSecret(ctx context.Context, file string) (string, error) {
	type result struct {
		content string
		err     error
	}
	read := make(chan result, 1)
	go func() {
		content, err := readFile(file)
		read <- result{content, err}
	}()
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case r := <-read:
		return r.content, r.err
	}
}

// readFile reads at most maxSecret bytes of a regular file or a pipe.
func readFile(file string) (string, error) {
	unreadable := func(err error) error {
		return fmt.Errorf("cannot be read: %w; this program, in the image user 65532, must be able to", fileCause(err))
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
	content, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", unreadable(err)
	}
	if len(content) > maxSecret {
		return "", errors.New("is too long for a connection string: it holds more than 64 KiB")
	}
	return decode(string(content))
}

// decode returns the text of a file in UTF-8, which may begin with a byte order mark.
func decode(content string) (string, error) {
	for _, start := range []string{"\xff\xfe", "\xfe\xff", "p\x00", "\x00p"} { // two marks, and the first letter without one
		if strings.HasPrefix(content, start) {
			return "", errors.New("is in UTF-16, as PowerShell's > writes it: write it in UTF-8 with Set-Content -Encoding utf8")
		}
	}
	return strings.TrimPrefix(content, "\uFEFF"), nil
}

// fileCause returns what the system says of a file, without the file's name.
func fileCause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
