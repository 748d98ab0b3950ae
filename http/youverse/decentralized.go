package youverse

import (
	"errors"

	"mien/engine"
	"mien/http/dialect"
)

// The pair of endpoints that match by multi-party computation: templates are shares with three parties (engine/mpc), and who is registered
// there is not registered by /user_verification, nor the other way round.

// verifyShared verifies who is registered with the parties, and registers who is not if it is told to.
func verifyShared(c *dialect.Call) (dialect.Answer, error) {
	if _, err := c.Decentralised(); err != nil { // as it is for everybody, whatever is asked
		return dialect.Answer{}, err
	}
	var b verifyRequest
	if err := c.DecodeJSON(&b); err != nil {
		return dialect.Answer{}, err
	}
	photo, err := b.check()
	if err != nil {
		return dialect.Answer{}, err
	}
	c.Person = *b.UserID
	with, err := c.Decentralised()
	if err != nil {
		return dialect.Answer{}, err
	}
	status, err := tries(func() (string, error) {
		enrolled, err := with.Enrolled()
		switch {
		case err != nil:
			return "", err
		case enrolled:
			return verifyShares(c, with, photo)
		case !*b.CreateIfNew:
			return statusNotFound, nil
		}
		return registerShares(c, with, photo)
	})
	return dialect.JSON(200, verifyResponse{status}), err
}

func verifyShares(c *dialect.Call, with dialect.Decentralised, photo []byte) (status string, err error) {
	status = statusFailed
	err = c.Steadily(func() error {
		t, err := c.Templates(dialect.Photo{Data: photo, Default: probeChecks})
		if err != nil {
			return err
		}
		match, err := with.Verify(t[0])
		if match {
			status = statusSuccess
		}
		return err
	})
	return status, err
}

func registerShares(c *dialect.Call, with dialect.Decentralised, photo []byte) (string, error) {
	return statusNew, c.Steadily(func() error {
		t, err := c.Templates(dialect.Photo{Data: photo, Enrols: true, Default: enrolChecks})
		if err != nil {
			return err
		}
		return with.Enrol(t[0])
	})
}

func deleteShared(c *dialect.Call) (dialect.Answer, error) {
	if _, err := c.Decentralised(); err != nil {
		return dialect.Answer{}, err
	}
	if _, err := userID(c); err != nil {
		return dialect.Answer{}, err
	}
	with, err := c.Decentralised()
	if err == nil {
		err = with.Delete()
	}
	return dialect.Answer{Status: 204}, err
}

// mayComeAndGo are the errors of a user who was registered, or deleted, while a request was under way.
func mayComeAndGo(err error) bool {
	return errors.Is(err, engine.ErrVersion) || errors.Is(err, engine.ErrPersonNotFound) || errors.Is(err, engine.ErrPersonExists)
}
