package postgres

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
)

// hostName matches a name that can be looked up. Container engines have names with underscores, unlike RFC 1123.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$`)

// CheckHost returns an error for a host that is neither an IP address nor the directory of a socket nor a possible name. It would be
// looked up, not be found, and be waited for.
func CheckHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil || strings.HasPrefix(host, "/") || hostName.MatchString(host) {
		return nil
	}
	return errors.New("is neither an IP address nor a name of letters, digits, hyphens, underscores and single dots (xn--… in another script)")
}
