#!/bin/sh
# Seal one value for one Secret; print the ciphertext for spec.encryptedData.
#
#   secrets run --env SECRET_VALUE=vault://secret/production/myapp#api_key -- \
#     ./seal.sh production myapp-secrets controller-cert.pem
#
# The value comes in through the environment of this one process and goes on through a pipe. It is
# in no argument, in no file, and not in the environment of kubeseal. The certificate is public;
# fetch it once from the controller that you trust and compare its fingerprint out of band.
#
# Sources: https://github.com/bitnami-labs/sealed-secrets#raw-mode-experimental
set -eu

if [ "$#" -ne 3 ]; then
  echo "usage: seal.sh NAMESPACE NAME CERTIFICATE" >&2
  exit 2
fi
value=${SECRET_VALUE:?is not set: start this through secrets run --env SECRET_VALUE=REFERENCE}
unset SECRET_VALUE

# printf is part of the shell, so this starts no process that would have the value as an argument;
# it adds no newline, which would become part of the secret.
printf '%s' "$value" |
  kubeseal --raw --from-file=/dev/stdin \
    --namespace "$1" --name "$2" --scope strict --cert "$3"
