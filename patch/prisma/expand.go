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
	// beforePassword matches a URL's beginning as far as the end of the password, and captures what stands before it.
	beforePassword = regexp.MustCompile(`^([^:/?#]*://[^:/?#]*:)[^/?#]*@`)
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

// Unreplaced returns the first $(NAME) in a text, "" if there is none: what Kubernetes leaves of a variable that it does not know.
func Unreplaced(text string) string { return unreplaced.FindString(text) }

// CheckReplaced returns an error if the string holds $(NAME) outside the password, which may hold any text.
func CheckReplaced(uri string) error {
	if name := Unreplaced(beforePassword.ReplaceAllString(uri, "$1@")); name != "" {
		return fmt.Errorf("it holds %s, which Kubernetes replaces only by a variable that stands above it in the container's env", name)
	}
	return nil
}
