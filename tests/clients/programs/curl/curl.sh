#!/usr/bin/env bash
# curl.sh URL: prints what `curl -N` and bash make of a stream.
set -uo pipefail
export LC_ALL=C

url=$1 last='' retry=1000

json() {
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\n'/\\n} text=${text//$'\t'/\\t} text=${text//$'\v'/\\u000b} text=${text//$'\f'/\\f}
  REPLY="\"$text\""
}

seen() {
  local type id
  json "$1" && type=$REPLY
  json "$2" && id=$REPLY
  json "$3"
  printf '{"kind":"event","type":%s,"id":%s,"data":%s}\n' "$type" "$id" "$REPLY"
}

# docs: begin
while true; do
  type='' id=$last data=''
  while IFS= read -r line; do
    value=${line#*:} value=${value# }
    case $line in
      '')
        last=$id
        [[ -z $data ]] || seen "${type:-message}" "$last" "${data%$'\n'}"
        type='' data=''
        ;;
      data:*) data+=$value$'\n' ;;
      event:*) type=$value ;;
      id:*) id=$value ;;
      retry:*) retry=$value ;;
    esac
  done < <(curl -sN -H 'Accept: text/event-stream' ${last:+-H "Last-Event-ID: $last"} "$url")
  sleep "$((retry / 1000)).$(printf %03d "$((retry % 1000))")"
done
# docs: end
