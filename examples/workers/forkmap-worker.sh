# Serves the items of a CommandWorker of forkmap: `serve handler` calls that function or command
# with each item; for bytes, with the path of their file. Its output is the result: text, or the
# RESULT_TYPE (json, bytes). A status other than 0 is an error; 75 means: send the item again after
# the number of seconds that it prints.

# stdin and stdout are for the protocol only: other output goes to stderr, other readers get EOF.
exec 4<&0 </dev/null 3>&1 1>&2

serve() {
  trap 'trap : TERM; exit 0' TERM
  number=0
  while IFS= read -r request <&4; do
    number=$((number + 1)) status=0 file=result-$number path=$FORKMAP_SCRATCH/result-$number
    id=${request#*:\"} id=${id%%\"*} item=${request#*:*:} item=${item%\}} && decode_item
    case $request in
      "{\"id\":\"$id\",\"item_file\":"*) item=$(cat "$item") && decode_item ;;
      "{\"id\":\"$id\",\"item_type\":"*) item=${item#*:\"} ;; # The path of a file with bytes.
    esac
    "$@" "$item" >"$path" 3>&- 4<&- & # In the background, where `set -e` holds.
    wait "$!" || status=$?
    case $status in
      0) answer='"ok","result_file":"'$file'","result_type":"'${RESULT_TYPE:-text}'"' ;;
      75) seconds=$(LC_ALL=C awk '{ n = $1 } END { print NR ? n + 0 : 60 }' "$path")
        answer='"throttled","retry_after_secs":'$seconds ;;
      *) answer='"error","message":"status '$status'","class":"ExitError","exit_code":'$status ;;
    esac
    printf '{"id":"%s","status":%s}\n' "$id" "$answer" >&3
  done
  trap : TERM # SIGTERM must not interrupt the work at the end.
}

decode_item() { # A string becomes its text, other JSON stays as it is. Backslashes separate the records.
  case $item in \"*) item=${item#\"} item=${item%\"} ;; *) return 0 ;; esac
  case $item in *\\*) item=$(printf %s "$item" | LC_ALL=C awk "$unescape"; printf .) item=${item%.} ;; esac
}
unescape='BEGIN { RS = "\\"; ORS = ""; HEX = "123456789abcdef" }
  NR == 1 || isPlain { print; isPlain = 0; next }
  $0 == "" { print "\\"; isPlain = 1; next }
  { c = substr($0, 1, 1); if (i = index("bfnrt", c)) c = substr("\b\f\n\r\t", i, 1) }
  c == "u" { for (n = 0; i < 4; i++) n = n * 16 + index(HEX, tolower(substr($0, i + 2, 1))) }
  c == "u" { $0 = substr($0, 5); if (n > 2047) n = 63 } # Half a surrogate pair: "?"
  c == "u" { c = n < 128 ? sprintf("%c", n) : sprintf("%c%c", 192 + n / 64, 128 + n % 64) }
  { print c substr($0, 2) }'
