package pgtest

import (
	"bufio"
	"encoding/binary"
	"io"
)

// reader reads what one side sends.
type reader struct {
	*bufio.Reader
	begun, encrypted bool
}

// next reads the next message. The type of the client's first ones is missing, and their first byte 0. A server that begins
// with S or N answers an SSLRequest, in one byte. With TLS, either side begins with 0x16 (RFC 8446, 5.1).
func (r *reader) next() (message []byte, err error) {
	first, err := r.Peek(1)
	if err != nil {
		return nil, err
	}
	length := 1
	r.encrypted = r.encrypted || first[0] == 0x16
	if r.encrypted {
		length = r.Buffered()
	} else if answer := first[0] == 'S' || first[0] == 'N'; r.begun || !answer {
		typed := min(int(first[0]), 1)
		header, err := r.Peek(typed + 4)
		if err != nil {
			return nil, err
		}
		length = typed + max(int(binary.BigEndian.Uint32(header[typed:])), 4)
	}
	r.begun = true
	message = make([]byte, length)
	_, err = io.ReadFull(r, message)
	return message, err
}
