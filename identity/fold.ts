/** The form in which names that ignore case are compared and kept unique (RFC 7643, section 4.1: userName is not caseExact). */
export function fold(value: string): string {
  return value.normalize("NFC").toLowerCase().normalize("NFC");
}
