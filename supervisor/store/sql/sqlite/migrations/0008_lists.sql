-- What was concluded, a part of a list at a time. Each index ends with the row's own number.

CREATE INDEX verdict_in_order ON verdict (session_key, seq);
CREATE INDEX decision_in_order ON decision (session_key, seq);
CREATE INDEX outcome_in_order ON outcome (session_key, seq);
CREATE INDEX incident_in_order ON incident (session_key);
