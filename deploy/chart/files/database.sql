-- Run once by the image, on an empty volume: the service's role owns one database and may no more.
\set password `cat /run/secrets/dachub/database-password`
CREATE ROLE dachub LOGIN PASSWORD :'password';
CREATE DATABASE dachub OWNER dachub;
REVOKE ALL ON DATABASE dachub FROM PUBLIC;
