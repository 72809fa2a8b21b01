package plan

import "fmt"

// RefusedError reports a schema that is not what this program knows. Nothing was changed.
type RefusedError struct {
	Reason string
	Remedy string // SQL after which a further run succeeds, "" if there is none to give
}

func (e *RefusedError) Error() string { return "refused, and nothing was changed: " + e.Reason }

// Refuse returns a *RefusedError.
func Refuse(format string, args ...any) error {
	return &RefusedError{Reason: shorten(fmt.Sprintf(format, args...), 4000)}
}

// shorten cuts s to at most so many characters.
func shorten(s string, most int) string {
	for i := range s {
		if most--; most < 0 {
			return s[:i] + "…"
		}
	}
	return s
}
