package pgtest

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"sync"
)

// The secrets of the tests, which the program must never print. No test may use other passwords or keys.
const (
	Password        = "Sup3r.s3cret&*("
	APIKey          = keyPrefix + "ThisKeyIsNobodysBusiness0123"
	ExamplePassword = "change-me" // the password that the end-to-end tests give to compose.example.yml and deploy/

	keyPrefix = "sk-proj-" // also of the keys that the stand-in for Evolution generates
)

// printed collects what the program printed in all tests.
var printed struct {
	sync.Mutex
	bytes.Buffer
}

// Record adds the output of a run to what Main searches for secrets.
func Record(o Outcome) {
	printed.Lock()
	defer printed.Unlock()
	fmt.Fprint(&printed.Buffer, o.Stdout, o.Stderr)
}

// printedSecret returns the output around the first secret in it, or "".
func printedSecret() string {
	printed.Lock()
	defer printed.Unlock()
	text := printed.String()
	for _, secret := range []string{Password, url.QueryEscape(Password), keyPrefix, ExamplePassword} {
		if i := strings.Index(text, secret); i >= 0 {
			return text[max(0, i-300):min(len(text), i+len(secret)+300)]
		}
	}
	return ""
}
