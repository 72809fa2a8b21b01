package prisma

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	// reference matches ${NAME}, and \${NAME}, which stands for the text ${NAME}.
	reference = regexp.MustCompile(`\\?\$\{[A-Za-z_][A-Za-z0-9_]*\}`)
	// unreplaced matches $(NAME) with any name that Kubernetes takes.
	unreplaced = regexp.MustCompile(`\$\([-._A-Za-z][-._A-Za-z0-9]*\)`)
	// passwordOf matches a URL's beginning as far as the end of the password, and captures what stands before it, and it.
	passwordOf = regexp.MustCompile(`^([^:/?#]*://[^:/?#]*:)([^/?#]*)@`)
)

// Expand replaces ${NAME} by the value of that variable. As with Prisma (prisma, packages/internals/src/dotenvExpand.ts), this comes
// before the string is parsed, so that a value is written as in a URL. Unlike Prisma, it does not replace what a value holds, and
// a variable that is not set, which Prisma takes for empty, is an error.
func Expand(uri string, variables map[string]string) (string, error) {
	var unset []string
	expanded := reference.ReplaceAllStringFunc(uri, func(text string) string {
		if escaped, ok := strings.CutPrefix(text, `\`); ok {
			return escaped
		}
		value, set := variables[text[len("${"):len(text)-len("}")]]
		if !set && !slices.Contains(unset, text) {
			unset = append(unset, text)
		}
		return value
	})
	if len(unset) > 0 {
		return "", fmt.Errorf("it holds %s, which is not set in this program's environment, and which Prisma would take for empty; set it here as for Evolution",
			strings.Join(unset, ", "))
	}
	return expanded, nil
}

// CheckReplaced returns an error if the string holds $(NAME) outside the password, which may hold any text. Kubernetes leaves that of a
// variable that it does not know.
func CheckReplaced(uri string) error {
	if name := unreplaced.FindString(passwordOf.ReplaceAllString(uri, "$1@")); name != "" {
		return fmt.Errorf("it holds %s, which Kubernetes replaces only by a variable that stands above it in the container's env", name)
	}
	return nil
}

// PasswordHint returns what may be wrong with a password that a server refuses, and with how the connection string writes it, "" for
// nothing. The string may be empty.
func PasswordHint(password, uri string) string {
	if name := unreplaced.FindString(password); name != "" {
		return "the password holds " + name + ", which Kubernetes replaces only by a variable that stands above it in the container's env"
	}
	if written := passwordOf.FindStringSubmatch(uri); written != nil && strings.ContainsAny(written[2], "@%") {
		return "in the connection string, write @ in the password as %40 and % as %25"
	}
	return ""
}
