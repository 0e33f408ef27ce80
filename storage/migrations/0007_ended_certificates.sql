-- Of a certificate that ended long ago its serial, key and dates are kept, the certificate itself no more.

ALTER TABLE gateway_certificate ALTER COLUMN certificate DROP NOT NULL;
